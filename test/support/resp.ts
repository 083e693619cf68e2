/** For a proxy's `replace`: each reply becomes this one, so that every command still gets an answer. */
export function answering (reply: string): (chunk: Buffer) => Buffer {
  return (chunk) => Buffer.from(reply.repeat(countReplies(chunk.toString('latin1'))), 'latin1')
}

function countReplies (chunk: string): number {
  let count = 0
  for (let at = 0; at < chunk.length; at = endOfReply(chunk, at)) count++
  return count
}

/** RESP2 and RESP3, of whole replies. */
function endOfReply (chunk: string, at: number): number {
  const type = chunk[at]
  let end = chunk.indexOf('\r\n', at) + 2
  if (end < 2) return chunk.length
  const length = Number(chunk.slice(at + 1, end - 2))
  if ((type === '$' || type === '=' || type === '!') && length >= 0) return end + length + 2
  const elements = type === '%' ? 2 * length : type === '*' || type === '~' || type === '>' ? length : 0
  for (let i = 0; i < elements; i++) end = endOfReply(chunk, end)
  return end
}

/** The commands of a chunk that a client sent, each as it was sent. */
export function * commandsIn (chunk: Buffer): Generator<Buffer> {
  const text = chunk.toString('latin1')
  for (let at = 0; at < text.length;) {
    const end = endOfReply(text, at)
    yield chunk.subarray(at, end)
    at = end
  }
}
