"""From files to arrays: open, decode, bring to one recipe, keep in a memory-mapped cache."""
