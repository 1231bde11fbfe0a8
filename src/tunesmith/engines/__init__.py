"""The engines that people run models on: started, asked and stopped. docs/concepts/engines.md compares them."""
