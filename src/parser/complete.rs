//! What may come next on an unfinished line: the same lexer, read up to the cursor.
