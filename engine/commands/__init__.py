"""The commands of ``unitscope`` that compute, each with its options and what it prints."""
