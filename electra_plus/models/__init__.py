"""All that a checkpoint needs to run. The files here are copied beside the weights on the Hub, so they stay flat."""
