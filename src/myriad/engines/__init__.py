"""The real worlds: engines that carry out orders on machines. None knows another."""
