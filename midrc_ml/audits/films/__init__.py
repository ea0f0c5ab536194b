"""The same film twice: found among very many, whatever was done to one of them."""
