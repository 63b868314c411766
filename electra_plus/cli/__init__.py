"""The `electra-plus` command."""
