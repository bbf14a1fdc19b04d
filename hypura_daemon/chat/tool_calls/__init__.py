"""How models write tool calls: one table of syntaxes, with readers and grammars for them."""
