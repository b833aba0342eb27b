"""Conformance suites: inherit one in your own tests, say how to make your object, and get the checks ours get."""

from limbeck.testing.matchers import MatcherSuite as MatcherSuite
from limbeck.testing.target_writers import TargetWriterSuite as TargetWriterSuite
