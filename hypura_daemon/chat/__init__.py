"""Chats: how a conversation becomes a prompt, and how a model's answer becomes thinking, content and tool calls."""
