"""Complete runs as Python functions; the commands of `electra-plus` call them."""
