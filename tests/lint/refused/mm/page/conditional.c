#ifdef CONFIG_DEBUG
#endif
