"""The methods: the only place where data, models, tokenizers, tasks and recommenders meet."""
