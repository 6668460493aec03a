"""LEMUR (ABrain-One nn-dataset): networks that are torch code, partly written by machines, in a wheel on PyPI.

`pip download --no-deps nn-dataset==2.1.2` gets the wheel (later ones hold no code), and
`python -m frontends.tables.lemur WHEEL OUT` makes a store of the graphs of the networks that a label table names:

    table = frontends.tables.load("lemur_fixed_recipe", graphs="OUT")
    table.graphs(rows)

Nobody has read this code. Each network's source is checked (`source_checks`) and then runs in a process of its own,
which is forked for it, may take some seconds and some memory, and can neither write files nor reach a network
(`network_worker`); what comes back is JSON. This stops what is careless and what is hostile in known ways; it is no
virtual machine.
"""

from .network_process import trace_network as trace_network
from .store_writer import write_graphs as write_graphs
