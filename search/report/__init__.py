"""The report of a search: one HTML page with what was found, how, and how to build it."""

from .build_code import build_lines as build_lines
from .page import write_report as write_report
