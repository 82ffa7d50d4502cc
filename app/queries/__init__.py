"""Operations that read the store: what each means, independent of HTTP and SQL."""
