"""Helpers of several test modules, which never import each other or conftest."""
