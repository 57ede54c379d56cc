"""Training loops: offline over a dataset on the device, online over a vector environment; evaluation."""
