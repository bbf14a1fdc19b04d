"""Clients' grammars in llama.cpp's notation: what they admit, and what of them is refused by name."""

from __future__ import annotations

import pytest

from hypura.v1 import worker_pb2
from tests.worker.constraining.grammar_check import GrammarCheck, Refused

JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""  # llama.cpp's own grammars/json.gbnf
ARITHMETIC = r"""
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t]*
"""
LIST = 'root ::= item+\nitem ::= "- " [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ "\\n"'
TABLE: list[tuple[str, str, list[str], list[str]]] = [
    ("json", JSON, ['{"a": [1, -2.5e3, "x\\n"], "b": {"c": null}}', "{}"], ['{"a"}', "[]", '{"a": 01x}']),
    ("arithmetic", ARITHMETIC, ["a+(b*12)= c\n", "1 =2\n"], ["a+=b\n", "a"]),
    ("list", LIST, ["- one\n- two\n"], ["one\n", "- one"]),
    ("a comment and a dash", 'root ::= yes-no # which\nyes-no ::= "yes" | "no"', ["yes", "no"], ["maybe"]),
    ("escapes", r'root ::= "\x41\u00e9\U0001F600\"\\\n"', ['Aé😀"\\\n'], ["A"]),
    ("classes", r"root ::= [\u00e0-\u00ff-]+ [^a-z\]] [\]]", ["éü-B]"], ["éüb]", "aB]"]),
    ("any character", "root ::= . .", ["a\n", "é😀"], ["a"]),
    ("counts", 'root ::= "a"{2} "b"{1,} "c"{0,2} "d"?', ["aab", "aabbbccd"], ["ab", "aabccc"]),
    ("one expression", 'root ::= [a-z]* "b" other\nother ::= "c" | "d"', ["aabbc", "bd"], ["aac"]),
    ("a rule called start", 'root ::= start "!"\nstart ::= "a" | "b" start', ["bba!"], ["bb!"]),
    ("upper case", "root ::= Item ITEM-two\nItem ::= \"a\"\nITEM-two ::= \"b\"", ["ab"], ["a"]),
    ("new lines in brackets", 'root ::= (\n  "a" |\n  "b"\n)', ["a"], ["c"]),
    ("rules that refer to themselves", 'root ::= "(" root ")" | "x"', ["((x))"], ["((x)"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fitting", "other"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_grammars(check: GrammarCheck, text: str, fitting: list[str], other: list[str]) -> None:
    constraint = worker_pb2.Constraint(gbnf=text)
    assert [one for one in fitting if not check.accepts(constraint, one)] == []
    assert [one for one in other if check.accepts(constraint, one)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("root", "Expected ::="),
        ("root ::= missing", "'missing' not found"),
        ('other ::= "a"', "No 'root' rule"),
        ('root ::= "a', "Expected '\"'"),
        ("root ::= [a", "Expected ']'"),
        (r'root ::= "\uZZZZ"', "Invalid escape"),
        ("root ::= <[5]>", "Expected name"),
        ("root ::= " + "(" * 3000 + '"a"' + ")" * 3000, "nests too deep"),
        ("root ::= root", "no text fits"),
        ('root ::= "' + "a" * (1 << 18) + '"', "are allowed"),
        ("", "No 'root' rule"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_a_grammar_is_refused(check: GrammarCheck, text: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        check.matcher(worker_pb2.Constraint(gbnf=text))
