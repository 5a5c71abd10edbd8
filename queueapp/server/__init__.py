"""The server process, on either of two ASGI servers: uvicorn, which `serve` runs, and Daphne."""
