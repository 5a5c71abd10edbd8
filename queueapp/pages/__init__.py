"""The operators' pages that are no model's list: a module a page, each with `urls(site)`; `site` mounts them."""
