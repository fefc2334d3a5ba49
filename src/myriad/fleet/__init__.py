"""What this site has: its declared shape (`site`) and the live columns of its nodes (`columns`)."""
