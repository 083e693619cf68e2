/** What a process of the benchmark can be asked for. */
export type Handlers<H> = { [name in keyof H]: (argument: never) => unknown }
export interface Call { id: number, name: string, argument: unknown }
export interface Answer { id: number, result?: unknown, error?: string }

/** In the child: answers what the parent asks. It ends with its parent. */
export function serve<H extends Handlers<H>> (handlers: H) {
  process.on('message', async ({ id, name, argument }: Call) => {
    try {
      process.send!({ id, result: await handlers[name as keyof H](argument as never) })
    } catch (error) {
      process.send!({ id, error: (error as Error).stack ?? String(error) })
    }
  })
  process.once('disconnect', () => process.exit())
}
