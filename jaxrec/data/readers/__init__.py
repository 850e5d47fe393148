"""Events from files, one file a format family; the registry says which formats there are."""
