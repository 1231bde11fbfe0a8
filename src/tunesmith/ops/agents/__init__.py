"""Tools for agents over MCP: what the commands do, with the same guards and a confirmation before anything long."""
