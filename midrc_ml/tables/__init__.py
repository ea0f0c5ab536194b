"""The five tables that every cohort becomes, and the checks on them."""
