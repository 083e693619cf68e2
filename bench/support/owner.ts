import type { Owner } from '../../test/support/redis.ts'

/** Ends what was started for a measurement, the last first. */
export class Session implements Owner {
  readonly #teardowns: Array<() => unknown> = []

  after (teardown: () => unknown) {
    this.#teardowns.push(teardown)
  }

  async end () {
    for (const teardown of this.#teardowns.splice(0).reverse()) await teardown()
  }
}

export async function inSession<T> (use: (session: Session) => Promise<T>): Promise<T> {
  const session = new Session()
  try {
    return await use(session)
  } finally {
    await session.end()
  }
}
