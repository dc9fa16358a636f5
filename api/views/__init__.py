"""From rows and values to what is shown: shared by the HTTP routes and the console's pages. No rules, no writes."""
