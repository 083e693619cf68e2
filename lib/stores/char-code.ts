/**
 * Not `text.charCodeAt()`: once any class extends String, as one of ioredis 6 does, V8 no longer inlines it.
 * What reads a text character by character then takes several times as long.
 * @example charCodeAt.call(text, 0)
 */
export const { charCodeAt } = String.prototype
