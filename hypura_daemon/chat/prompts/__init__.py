"""The prompt for a conversation: chat templates, what they need of conversations, and the process that renders them."""
