#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""focus_validator FILE [VERSION]: is a CSV file a FOCUS Cost and Usage dataset?

Rules of the specification, versions 1.2 and 1.3 (github.com/FinOps-Open-Cost-and-Usage-Spec/
FOCUS_Spec), as far as they can be judged by the file alone: which columns must be there, their
types, formats, allowed values, when they must or must not be null, and how they hang together. PyPI's
focus-validator 1.0.0 knows versions up to 1.0 only; that is why this one is here. focus_test.py
proves that each rule can fail.

validate() returns findings, one line each, "row N: Column: what is wrong"; row 1 is the first after
the heading.
"""
import csv
import datetime
import io
import json
import re
import sys
from decimal import Decimal, InvalidOperation

VERSIONS = ("1.2", "1.3")
MICRO = Decimal("0.000001")

# name: (mandatory, type, nullable). Types: T text, D decimal, N decimal that is not negative, W date
# and time, C currency, J JSON object of scalars, A JSON object with an array of elements, a tuple:
# allowed values. A column that is not mandatory is judged when it is there.
COLUMNS = {
    "AvailabilityZone": (False, "T", True),
    "BilledCost": (True, "D", False),
    "BillingAccountId": (True, "T", False),
    "BillingAccountName": (True, "T", True),
    "BillingAccountType": (False, "T", False),
    "BillingCurrency": (True, "C", False),
    "BillingPeriodEnd": (True, "W", False),
    "BillingPeriodStart": (True, "W", False),
    "CapacityReservationId": (False, "T", True),
    "CapacityReservationStatus": (False, ("Used", "Unused"), True),
    "ChargeCategory": (True, ("Usage", "Purchase", "Tax", "Credit", "Adjustment"), False),
    "ChargeClass": (True, ("Correction",), True),
    "ChargeDescription": (True, "T", True),
    "ChargeFrequency": (False, ("One-Time", "Recurring", "Usage-Based"), False),
    "ChargePeriodEnd": (True, "W", False),
    "ChargePeriodStart": (True, "W", False),
    "CommitmentDiscountCategory": (False, ("Spend", "Usage"), True),
    "CommitmentDiscountId": (False, "T", True),
    "CommitmentDiscountName": (False, "T", True),
    "CommitmentDiscountQuantity": (False, "D", True),
    "CommitmentDiscountStatus": (False, ("Used", "Unused"), True),
    "CommitmentDiscountType": (False, "T", True),
    "CommitmentDiscountUnit": (False, "T", True),
    "ConsumedQuantity": (False, "D", True),
    "ConsumedUnit": (False, "T", True),
    "ContractedCost": (True, "D", False),
    "ContractedUnitPrice": (False, "N", True),
    "EffectiveCost": (True, "D", False),
    "InvoiceId": (False, "T", True),
    "InvoiceIssuerName": (True, "T", False),
    "ListCost": (True, "D", False),
    "ListUnitPrice": (False, "N", True),
    "PricingCategory": (False, ("Standard", "Dynamic", "Committed", "Other"), True),
    "PricingCurrency": (False, "T", True),
    "PricingCurrencyContractedUnitPrice": (False, "N", True),
    "PricingCurrencyEffectiveCost": (False, "D", True),
    "PricingCurrencyListUnitPrice": (False, "N", True),
    "PricingQuantity": (True, "D", True),
    "PricingUnit": (True, "T", True),
    "ProviderName": (True, "T", False),
    "PublisherName": (True, "T", False),
    "RegionId": (False, "T", True),
    "RegionName": (False, "T", True),
    "ResourceId": (False, "T", True),
    "ResourceName": (False, "T", True),
    "ResourceType": (False, "T", True),
    "ServiceCategory": (True, (
        "AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases",
        "Developer Tools", "Multicloud", "Identity", "Integration", "Internet of Things",
        "Management and Governance", "Media", "Migration", "Mobile", "Networking", "Security",
        "Storage", "Web", "Other"), False),
    "ServiceName": (True, "T", False),
    "ServiceSubcategory": (False, "T", False),
    "SkuId": (False, "T", True),
    "SkuMeter": (False, "T", True),
    "SkuPriceDetails": (False, "J", True),
    "SkuPriceId": (False, "T", True),
    "SubAccountId": (False, "T", True),
    "SubAccountName": (False, "T", True),
    "SubAccountType": (False, "T", True),
    "Tags": (False, "J", True),
}
NEW_IN_1_3 = {
    "AllocatedMethodDetails": (False, "A", True),
    "AllocatedMethodId": (False, "T", True),
    "AllocatedResourceId": (False, "T", True),
    "AllocatedResourceName": (False, "T", True),
    "AllocatedTags": (False, "J", True),
    "ContractApplied": (False, "A", True),
    "HostProviderName": (True, "T", True),
    "ServiceProviderName": (True, "T", False),
}
# Of the categories that are used here.
SUBCATEGORIES = {
    "Compute": ("Containers", "End User Computing", "Quantum Compute", "Serverless Compute",
                "Virtual Machines", "Other (Compute)"),
    "AI and Machine Learning": ("AI Platforms", "Bots", "Generative AI", "Machine Learning",
                                "Natural Language Processing",
                                "Other (AI and Machine Learning)"),
}
# If the first is null the second must be; if not, must not.
PAIRS = (("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit"),
         ("SubAccountId", "SubAccountName"), ("ResourceId", "ResourceType"),
         ("RegionId", "RegionName"), ("AllocatedResourceId", "AllocatedResourceName"),
         ("CapacityReservationId", "CapacityReservationStatus"))
SKU_PRICE_KEYS = {"CoreCount", "DiskMaxIops", "DiskSpace", "DiskType", "GpuCount", "InstanceType",
                  "InstanceSeries", "MemorySize", "NetworkMaxIops", "NetworkMaxThroughput",
                  "OperatingSystem", "Redundancy", "StorageClass"}
NUMBER = re.compile(r"^-?\d+(\.\d+)?(E-?\d+)?$")
WHEN = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


def number(text):
    if not NUMBER.match(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def when(text):
    if not WHEN.match(text):
        return None
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None


def once(pairs):
    keys = [k for k, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError("a key comes twice")
    return dict(pairs)


def json_object(text):
    try:
        value = json.loads(text, object_pairs_hook=once, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def is_flat(value):
    return not any(isinstance(v, (dict, list)) for v in value.values())


def check_elements(value):
    """The rules of AllocatedMethodDetails."""
    elements = value.get("Elements")
    if not isinstance(elements, list) or not elements:
        return "no Elements"
    for e in elements:
        if not isinstance(e, dict) or not is_flat(e):
            return "an element is no flat object"
        if not isinstance(e.get("AllocatedRatio"), Decimal):
            return "AllocatedRatio is no number"
        if "UsageQuantity" in e and ("UsageUnit" not in e or
                                     not isinstance(e["UsageQuantity"], Decimal)):
            return "UsageQuantity without UsageUnit, or no number"
        for key in e:
            if key not in ("AllocatedRatio", "UsageUnit", "UsageQuantity") and key[:2] != "x_":
                return f"unknown property {key}"
    return None


def check_value(name, kind, text):
    if isinstance(kind, tuple):
        return None if text in kind else f"'{text}' is not allowed"
    if kind == "T":
        return "only blanks" if not text.strip() else None
    if kind in "DN":
        value = number(text)
        if value is None:
            return f"'{text}' is no number"
        return "is negative" if kind == "N" and value < 0 else None
    if kind == "W":
        return None if when(text) else f"'{text}' is no time in UTC"
    if kind == "C":
        return None if re.match("^[A-Z]{3}$", text) else f"'{text}' is no currency"
    value = json_object(text)
    if value is None:
        return "is no JSON object"
    if kind == "A":
        return check_elements(value) if name == "AllocatedMethodDetails" else None
    return None if is_flat(value) else "has a value that is an object or a list"


class Row:
    def __init__(self, cells, at, findings):
        self.cells, self.at, self.findings = cells, at, findings

    def has(self, name):
        """There is such a column."""
        return name in self.cells

    def get(self, name):
        """None when null or when there is no such column."""
        return self.cells.get(name) or None

    def number(self, name):
        text = self.get(name)
        return number(text) if text is not None else None

    def wrong(self, name, what):
        self.findings.append(f"row {self.at}: {name}: {what}")


def check_times(row):
    t = {n: when(row.get(n) or "") for n in ("BillingPeriodStart", "BillingPeriodEnd",
                                             "ChargePeriodStart", "ChargePeriodEnd")}
    if not all(t.values()):
        return
    if t["ChargePeriodEnd"] <= t["ChargePeriodStart"]:
        row.wrong("ChargePeriodEnd", "is not after ChargePeriodStart")
    if t["BillingPeriodEnd"] <= t["BillingPeriodStart"]:
        row.wrong("BillingPeriodEnd", "is not after BillingPeriodStart")
    if t["ChargePeriodStart"] < t["BillingPeriodStart"] or \
            t["ChargePeriodEnd"] > t["BillingPeriodEnd"]:
        row.wrong("ChargePeriodStart", "the billing period does not cover the charge period")


def check_category(row):
    category, correction = row.get("ChargeCategory"), row.get("ChargeClass")
    if category == "Tax":
        for name in ("PricingQuantity", "ListUnitPrice", "ContractedUnitPrice", "PricingCategory",
                     "SkuId", "SkuPriceId"):
            if row.get(name) is not None:
                row.wrong(name, "must be null of a Tax")
    if category in ("Usage", "Purchase") and not correction:
        for name in ("PricingQuantity", "ListUnitPrice", "ContractedUnitPrice", "PricingCategory",
                     "SkuId", "SkuPriceId"):
            if row.has(name) and row.get(name) is None:
                row.wrong(name, f"must not be null of a {category}")
    if category != "Usage" and row.get("ConsumedQuantity") is not None:
        row.wrong("ConsumedQuantity", "must be null where the category is not Usage")
    if category == "Usage" and not correction and row.has("ConsumedQuantity") and \
            row.get("CommitmentDiscountStatus") != "Unused" and \
            row.get("ConsumedQuantity") is None:
        row.wrong("ConsumedQuantity", "must not be null of a Usage")
    if category == "Purchase" and row.get("ChargeFrequency") == "Usage-Based":
        row.wrong("ChargeFrequency", "must not be Usage-Based of a Purchase")


def check_costs(row):
    """A unit price times the quantity is the cost, to the millionth that costs are given in."""
    if row.get("ChargeClass"):
        return
    quantity = row.number("PricingQuantity")
    for price_name, cost_name in (("ListUnitPrice", "ListCost"),
                                  ("ContractedUnitPrice", "ContractedCost")):
        price, cost = row.number(price_name), row.number(cost_name)
        if cost is None:
            continue
        if price is not None and quantity is not None:
            if abs(price * quantity - cost) > MICRO:
                row.wrong(cost_name, f"is not {price_name} x PricingQuantity")
        elif row.get("ChargeCategory") in ("Credit", "Adjustment") and \
                cost != row.number("BilledCost"):
            row.wrong(cost_name, "without a price must be BilledCost")
    if row.get("ChargeCategory") in ("Credit", "Adjustment") and \
            row.number("EffectiveCost") != row.number("BilledCost"):
        row.wrong("EffectiveCost", "must be BilledCost")


def check_pairs(row):
    for first, second in PAIRS:
        if row.has(second) and (row.get(first) is None) != (row.get(second) is None):
            row.wrong(second, f"must be null exactly when {first} is")
    if row.get("ResourceId") is None and row.get("ResourceName") is not None:
        row.wrong("ResourceName", "must be null when ResourceId is")
    if row.get("ResourceId") is not None and row.get("ResourceName") == row.get("ResourceId"):
        row.wrong("ResourceName", "must not duplicate ResourceId")
    if row.get("SkuId") is None and row.get("SkuMeter") is not None:
        row.wrong("SkuMeter", "must be null when SkuId is")
    if row.get("SkuPriceId") is None and row.get("SkuPriceDetails") is not None:
        row.wrong("SkuPriceDetails", "must be null when SkuPriceId is")
    details = json_object(row.get("SkuPriceDetails") or "{}") or {}
    for key in details:
        if key not in SKU_PRICE_KEYS and not key.startswith("x_"):
            row.wrong("SkuPriceDetails", f"unknown property {key}")
    allowed = SUBCATEGORIES.get(row.get("ServiceCategory"))
    part = row.get("ServiceSubcategory")
    if part and allowed and part not in allowed:
        row.wrong("ServiceSubcategory", f"'{part}' is not one of {row.get('ServiceCategory')}")


def check_allocation(row):
    method = row.get("AllocatedMethodId")
    for name in ("AllocatedResourceId", "AllocatedMethodDetails", "AllocatedTags"):
        if method is None and row.get(name) is not None:
            row.wrong(name, "must be null where nothing is allocated")
    if method is not None and row.has("AllocatedMethodDetails") and \
            row.get("AllocatedMethodDetails") is None:
        row.wrong("AllocatedMethodDetails", "should not be null of an allocated charge")


def check_ratios(rows, findings):
    """Ratios of the charges that an origin charge was split into sum to 1. Which those are the
    specification leaves to the data generator: here x_OriginChargeId."""
    sums = {}
    for row in rows:
        details = json_object(row.get("AllocatedMethodDetails") or "")
        if details and not check_elements(details) and row.get("x_OriginChargeId"):
            key = row.get("x_OriginChargeId")
            sums[key] = sums.get(key, 0) + sum(e["AllocatedRatio"] for e in details["Elements"])
    findings += [f"origin charge {key}: AllocatedRatio sums to {s}, not 1"
                 for key, s in sums.items() if s != 1]


def check_services(rows, findings):
    categories = {}
    for row in rows:
        categories.setdefault(row.get("ServiceName"), set()).add(row.get("ServiceCategory"))
    findings += [f"ServiceName {name}: has several categories"
                 for name, found in categories.items() if len(found) > 1]
    currencies = {}
    for row in rows:
        currencies.setdefault(row.get("BillingAccountId"), set()).add(row.get("BillingCurrency"))
    findings += [f"BillingAccountId {name}: has several currencies"
                 for name, found in currencies.items() if len(found) > 1]


def read(text, findings):
    """RFC 4180: CR LF, as many fields in each record, quotes where needed."""
    if not text.endswith("\r\n"):
        findings.append("file: does not end with CR LF")
    if re.search(r'(?<!\r)\n', re.sub(r'"(?:[^"]|"")*"', "", text)):
        findings.append("file: a record does not end with CR LF")
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as e:
        findings.append(f"file: {e}")
        return [], []
    return (records[0], records[1:]) if records else ([], [])


def check_columns(header, columns, findings):
    for name in {n for n in header if header.count(n) > 1}:
        findings.append(f"column {name}: comes twice")
    for name, (mandatory, _, _) in columns.items():
        if mandatory and name not in header:
            findings.append(f"column {name}: is missing")
    for name in header:
        if name not in columns and not re.match("^x_[A-Z][A-Za-z0-9]*$", name):
            findings.append(f"column {name}: is not of this version and has no x_")


def validate(text, version="1.2"):
    columns = dict(COLUMNS)
    if version == "1.3":
        columns.update(NEW_IN_1_3)
    findings, rows = [], []
    header, records = read(text, findings)
    check_columns(header, columns, findings)
    for at, record in enumerate(records, 1):
        if len(record) != len(header):
            findings.append(f"row {at}: has {len(record)} fields, not {len(header)}")
            continue
        row = Row(dict(zip(header, record)), at, findings)
        rows.append(row)
        for name in header:
            _, kind, nullable = columns.get(name, (False, None, True))
            if row.get(name) is None:
                if not nullable:
                    row.wrong(name, "must not be null")
            elif kind and (what := check_value(name, kind, row.get(name))):
                row.wrong(name, what)
        for check in (check_times, check_category, check_costs, check_pairs, check_allocation):
            check(row)
    check_ratios(rows, findings)
    check_services(rows, findings)
    return findings


def main():
    with open(sys.argv[1], encoding="utf-8", newline="") as f:
        findings = validate(f.read(), sys.argv[2] if len(sys.argv) > 2 else "1.2")
    print("\n".join(findings) or "valid")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
