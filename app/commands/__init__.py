"""Operations that change the store: what each means, independent of HTTP and SQL."""
