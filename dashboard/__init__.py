"""unitscope's dashboard: thin views over figures of what the engine stored. It never loads torch."""
