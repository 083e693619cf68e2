import { connect, type Socket } from 'node:net'

const HEAD_END = '\r\n\r\n'
const LENGTH = /\r\ncontent-length: (\d+)/i

/** HTTP over one socket that is kept, and nothing that a client of Node.js' own does beside: it shares the server's cores. */
export class Connection {
  readonly #socket: Socket
  readonly #waiting: Array<(answer: string) => void> = []
  #received = ''
  #failure: string | undefined

  constructor (port: number) {
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (data: string) => this.#read(data))
    this.#socket.on('error', (error) => this.#fail(error.message))
    this.#socket.on('close', () => this.#fail('the connection was closed'))
  }

  get isOpen () {
    return this.#failure === undefined
  }

  /** Gives the status, or why there is none. */
  ask (request: Buffer | string): Promise<string> {
    return new Promise((resolve) => {
      if (this.#failure !== undefined) return resolve(this.#failure)
      this.#waiting.push(resolve)
      this.#socket.write(request)
    })
  }

  #read (data: string) {
    this.#received += data
    for (;;) {
      const head = this.#received.indexOf(HEAD_END)
      if (head < 0) return
      const length = LENGTH.exec(this.#received.slice(0, head))
      if (!length) return this.#fail('an answer without a length')
      const end = head + HEAD_END.length + Number(length[1])
      if (this.#received.length < end) return
      const status = this.#received.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length)
      this.#received = this.#received.slice(end)
      this.#waiting.shift()!(status)
    }
  }

  #fail (failure: string) {
    this.#failure ??= failure
    this.#socket.destroy()
    for (const settle of this.#waiting.splice(0)) settle(this.#failure)
  }
}
