"""The suite that every network adapter must pass, a third party's too. Shipped in the wheel; needs pytest.

    pytest -p providers.network_conformance.plugin --pyargs providers.network_conformance --network module:function

``function`` is called without arguments and gives a context manager of a ``site.Site``: the adapter on a network where
it may make segments, and specs that the network's plan contains or refuses. All that the suite makes it takes away.

Must not: know any adapter, or how a router is spoken to.
"""
