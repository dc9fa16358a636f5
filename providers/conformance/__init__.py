"""The suite that every adapter must pass, a third party's too. Shipped in the wheel; needs pytest and the adapter.

    pytest --pyargs providers.conformance --provider NAME --provider-options FILE.yaml

``NAME`` is an entry point of the group ``guiyun.providers``, or ``module:factory`` before the adapter is packaged.
``FILE.yaml`` holds the adapter's options, flat, as the broker would give them; under the key ``conformance`` it may
hold what the suite itself should use (``settings.Settings``). All that the suite makes it removes.

Must not: know any adapter.
"""
