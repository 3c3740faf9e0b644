"""Connections, the ASGI application, and admission."""
