#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""focus_test DIR: each rule of focus_validator.py can fail. DIR has a good file of each version
(golden output of cli_bill_test.py); every mutation of it must be found, by the rule meant."""
import csv
import io
import os
import sys
import unittest

DIRECTORY = sys.argv.pop(1)

from focus_validator import COLUMNS, NEW_IN_1_3, validate  # noqa: E402


def load(version):
    with open(os.path.join(DIRECTORY, f"focus-{version}.txt"), encoding="utf-8") as f:
        return list(csv.reader(f))


def write(table):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(table)
    return out.getvalue()


class Mutations(unittest.TestCase):
    def setUp(self):
        self.tables = {v: load(v) for v in ("1.2", "1.3")}

    def change(self, version, **cells):
        """The file with other cells in its first row (or row `at`)."""
        table = [list(r) for r in self.tables[version]]
        at = cells.pop("at", 1)
        for name, value in cells.items():
            table[at][table[0].index(name)] = value
        return write(table)

    def found(self, text, words, version="1.2"):
        findings = validate(text, version)
        self.assertTrue(any(words in f for f in findings), (words, findings[:5]))

    def first(self, version, **want):
        head = self.tables[version][0]
        for at, row in enumerate(self.tables[version][1:], 1):
            if all(row[head.index(k)] == v for k, v in want.items()):
                return at
        raise AssertionError(f"no row with {want}")

    def test_good(self):
        for version, table in self.tables.items():
            self.assertGreater(len(table), 4)
            self.assertEqual(validate(write(table), version), [])

    def test_every_mandatory_column(self):
        for version in ("1.2", "1.3"):
            columns = {**COLUMNS, **(NEW_IN_1_3 if version == "1.3" else {})}
            for name, (mandatory, _, nullable) in columns.items():
                table = self.tables[version]
                if not mandatory:
                    continue
                at = table[0].index(name)
                without = [r[:at] + r[at + 1:] for r in table]
                self.found(write(without), f"column {name}: is missing", version)
                if not nullable:
                    self.found(self.change(version, **{name: ""}), f"{name}: must not be null",
                               version)

    def test_columns_of_another_version(self):
        self.found(write(self.tables["1.3"]), "is not of this version", "1.2")
        self.found(write(self.tables["1.2"]), "is missing", "1.3")
        table = [r + [r[0]] for r in self.tables["1.2"]]
        self.found(write(table), "comes twice")

    def test_types(self):
        for name in ("BilledCost", "ListCost", "EffectiveCost", "ContractedCost",
                     "PricingQuantity", "ConsumedQuantity", "ListUnitPrice"):
            for value in ("1,5", "$3", "+3", "1 1/2", "NaN", "1e+5", ".", "0x1"):
                self.found(self.change("1.2", **{name: value}), f"{name}: '{value}' is no number")
        self.found(self.change("1.2", ListUnitPrice="-1"), "ListUnitPrice: is negative")
        for name in ("ChargePeriodStart", "BillingPeriodEnd"):
            for value in ("2026-10-31", "2026-10-31T00:00:00+01:00", "2026-02-30T00:00:00Z",
                          "31.10.2026"):
                self.found(self.change("1.2", **{name: value}), f"{name}: '{value}' is no time")
        self.found(self.change("1.2", BillingCurrency="usd"), "is no currency")
        self.found(self.change("1.2", ServiceName="  "), "only blanks")
        for name in ("Tags", "SkuPriceDetails"):
            self.found(self.change("1.2", **{name: "{"}), f"{name}: is no JSON object")
            self.found(self.change("1.2", **{name: "[]"}), f"{name}: is no JSON object")
            self.found(self.change("1.2", **{name: '{"a":1,"a":2}'}), f"{name}: is no JSON object")
            self.found(self.change("1.2", **{name: '{"a":{}}'}), f"{name}: has a value")
        self.found(self.change("1.2", SkuPriceDetails='{"Colour":"red"}'), "unknown property")

    def test_allowed_values(self):
        for name in ("ChargeCategory", "ChargeClass", "ChargeFrequency", "ServiceCategory",
                     "PricingCategory"):
            self.found(self.change("1.2", **{name: "Anything"}), f"{name}: 'Anything'")
        self.found(self.change("1.2", ServiceSubcategory="Bots"), "is not one of Compute")

    def test_times(self):
        start = self.tables["1.2"][1][self.tables["1.2"][0].index("ChargePeriodStart")]
        self.found(self.change("1.2", ChargePeriodEnd=start), "is not after ChargePeriodStart")
        self.found(self.change("1.2", BillingPeriodEnd="2026-10-01T00:00:00Z",
                               BillingPeriodStart="2026-10-01T00:00:00Z"),
                   "is not after BillingPeriodStart")
        self.found(self.change("1.2", ChargePeriodEnd="2027-01-01T00:00:00Z"), "does not cover")
        self.found(self.change("1.2", ChargePeriodStart="2026-09-30T23:59:59Z"), "does not cover")

    def test_null_rules(self):
        for name in ("PricingQuantity", "ListUnitPrice", "SkuId", "SkuPriceId", "PricingCategory",
                     "ConsumedQuantity"):
            self.found(self.change("1.2", **{name: ""}), f"{name}: must not be null of a Usage")
        self.found(self.change("1.2", ChargeCategory="Tax"), "must be null of a Tax")
        self.found(self.change("1.2", ChargeCategory="Credit"), "where the category is not Usage")
        self.found(self.change("1.2", ChargeCategory="Purchase"), "must not be Usage-Based")
        for first, second in (("ConsumedQuantity", "ConsumedUnit"), ("SubAccountId",
                              "SubAccountName"), ("ResourceId", "ResourceType"),
                              ("PricingQuantity", "PricingUnit")):
            self.found(self.change("1.2", **{second: ""}), f"{second}: must be null exactly")
            self.found(self.change("1.2", **{first: ""}), f"{second}: must be null exactly")
        self.found(self.change("1.2", ResourceId="", ResourceType=""), "ResourceName: must be null")
        self.found(self.change("1.2", ResourceId="x", ResourceName="x"), "must not duplicate")
        self.found(self.change("1.2", SkuId=""), "SkuMeter: must be null")
        self.found(self.change("1.2", SkuPriceId=""), "SkuPriceDetails: must be null")

    def test_costs(self):
        self.found(self.change("1.2", ListCost="1000.000000"), "is not ListUnitPrice x")
        self.found(self.change("1.2", ListUnitPrice="77"), "is not ListUnitPrice x")
        self.found(self.change("1.2", PricingQuantity="77"), "is not ListUnitPrice x")
        at = self.first("1.3", ChargeCategory="Adjustment")
        for name in ("EffectiveCost", "ListCost", "ContractedCost"):
            self.found(self.change("1.3", at=at, **{name: "1"}), f"{name}: ", "1.3")

    def test_allocation(self):
        self.found(self.change("1.3", AllocatedMethodId=""), "where nothing is allocated", "1.3")
        self.found(self.change("1.3", AllocatedMethodDetails=""), "should not be null", "1.3")
        self.found(self.change("1.3", AllocatedResourceName=""), "must be null exactly", "1.3")
        self.found(self.change("1.3", AllocatedMethodDetails='{"Elements":[{"AllocatedRatio":0.5}]}'),
                   "AllocatedRatio sums to", "1.3")
        for wrong, words in (("{}", "no Elements"), ('{"Elements":[]}', "no Elements"),
                             ('{"Elements":[1]}', "no flat object"),
                             ('{"Elements":[{"AllocatedRatio":"1"}]}', "is no number"),
                             ('{"Elements":[{"AllocatedRatio":1,"UsageQuantity":1}]}',
                              "without UsageUnit"),
                             ('{"Elements":[{"AllocatedRatio":1,"Colour":1}]}', "unknown property")):
            self.found(self.change("1.3", AllocatedMethodDetails=wrong), words, "1.3")

    def test_the_file(self):
        good = write(self.tables["1.2"])
        self.found(good[:-2], "does not end with CR LF")
        self.found(good.replace("\r\n", "\n", 1), "a record does not end with CR LF")
        self.found(good.replace(",divvy,", ",", 1), "fields, not")
        self.found(good.replace('"{""', '"{"', 1), "file:")
        self.found(self.change("1.2", ServiceCategory="Other"), "has several categories")
        self.found(self.change("1.2", BillingCurrency="EUR"), "has several currencies")


if __name__ == "__main__":
    unittest.main()
