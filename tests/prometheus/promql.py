# SPDX-License-Identifier: Apache-2.0
"""What a PromQL expression names: selectors, labels, durations. promtool judges the grammar; this only
finds the words, in expressions that promtool has accepted."""
import re

DURATION = r"(?:[0-9]+(?:ms|[smhdwy]))+"
TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
      | (?P<duration>""" + DURATION + r""")(?![0-9a-zA-Z_])
      | (?P<number>[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)
      | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<mark>=~|!~|!=|==|<=|>=|.)""", re.VERBOSE)
GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
KEYWORDS = GROUPING | {"and", "or", "unless", "offset", "bool", "start", "end", "inf", "nan", "atan2"}


def tokens(expr):
    return [(m.lastgroup, m.group()) for m in TOKEN.finditer(expr) if m.lastgroup != "space"]


class Expression:
    """selectors: (metric, {labels that are matched}); groups: (keyword, [labels]); durations."""

    def __init__(self, expr):
        self.selectors, self.groups, self.durations = [], [], []
        self.row = tokens(expr)
        i = 0
        while i < len(self.row):
            i = self.take(i)

    def at(self, i):
        return self.row[i][1] if i < len(self.row) else ""

    def take(self, i):
        kind, text = self.row[i]
        if kind == "duration":
            self.durations.append(text)
        if kind != "word":
            if text == "{":
                raise ValueError("a selector without a metric's name")
            return i + 1
        if text in GROUPING and self.at(i + 1) == "(":
            end = i + 2
            while self.at(end) != ")":
                end += 1
            self.groups.append((text, [w for k, w in self.row[i + 2:end] if k == "word"]))
            return end + 1
        if text in KEYWORDS or self.at(i + 1) == "(":
            return i + 1
        # An aggregation may have its labels before its operand: sum by (x) (...).
        if self.at(i + 1) in GROUPING and self.at(i + 2) == "(" and text.islower() \
                and "_" not in text:
            return i + 1
        return self.selector(i, text)

    def selector(self, i, name):
        labels = {}
        i += 1
        if self.at(i) == "{":
            i += 1
            while self.at(i) != "}":
                if self.row[i][0] == "word":
                    labels[self.at(i)] = self.at(i + 2)
                    i += 2
                i += 1
            i += 1
        self.selectors.append((name, labels))
        return i
