"""Routes, schemas and OpenAPI, a file for each protocol."""
