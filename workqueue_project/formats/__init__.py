"""How times are written where Django formats them."""
