"""wcodec: zstd for trained networks."""
