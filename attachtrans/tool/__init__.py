"""The tool: one module per command's work. The only room that chooses between the others."""
