"""Questions and answers of `import dyn`: systems in words, one function per question, results that show themselves."""
