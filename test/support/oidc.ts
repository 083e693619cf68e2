import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'

/* node-oidc-provider in this process, and a browser that logs in and out there. */

/** Something with tap's teardown. */
interface Scope { teardown: (fn: () => unknown) => void }

export const CLIENT = 'the-client'
export const API = 'https://api.example'
const SECRET = 'the-secret-of-the-client'
const CALLBACK = 'https://app.example/callback'

export interface Tokens { access_token: string, refresh_token: string }

interface OidcOptions {
  /** The `backchannel_logout_uri` of the client. */
  logoutUri: string
  /** Whether its logout tokens have a sid. */
  withSid: boolean
}

/** What the provider keeps of a grant, as far as it is needed here. */
interface Entities { AuthorizationCode?: { sid: string }, RefreshToken?: { sid: string } }

/** It publishes no types of its own. */
interface ProviderClass {
  new (issuer: string, configuration: object): { callback (): RequestListener, on (event: string, listener: (...args: any[]) => void): void }
}

export async function startOidc (t: Scope, { logoutUri, withSid }: OidcOptions) {
  const { default: Provider } = await import('oidc-provider' as string) as { default: ProviderClass }
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  /** Each logout token that it posts, and how that was answered. */
  const posts: Array<{ token: string, status: number }> = []
  const failures: unknown[] = []
  const provider = new Provider(issuer, {
    clients: [{
      client_id: CLIENT,
      client_secret: SECRET,
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code', 'refresh_token'],
      backchannel_logout_uri: logoutUri,
      backchannel_logout_session_required: withSid
    }],
    // It refuses addresses of this machine unless it is given a fetch.
    fetch: async (url: string, { dispatcher, ...init }: RequestInit & { dispatcher?: unknown }) => {
      const response = await fetch(url, init)
      posts.push({ token: new URLSearchParams(String(init.body)).get('logout_token')!, status: response.status })
      return response
    },
    cookies: { keys: ['a key of the tests'] },
    pkce: { required: () => false },
    issueRefreshToken: async () => true,
    claims: { openid: ['sub', 'sid'] },
    extraTokenClaims: ({ oidc }: { oidc: { entities: Entities } }) => {
      const sid = (oidc.entities.RefreshToken ?? oidc.entities.AuthorizationCode)?.sid
      return sid === undefined ? {} : { sid }
    },
    features: {
      backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => API,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: 'read', audience: API, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } } })
      }
    },
    findAccount: (_context: unknown, accountId: string) => ({ accountId, claims: async () => ({ sub: accountId }) })
  })
  provider.on('backchannel.error', (_context, error) => failures.push(error))
  provider.on('server_error', (_context, error) => failures.push(error))
  server.on('request', provider.callback())

  const token = async (parameters: Record<string, string>): Promise<Tokens> => {
    const response = await fetch(`${issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${CLIENT}:${SECRET}`).toString('base64')}` },
      body: new URLSearchParams(parameters)
    })
    const answer = await response.json() as Tokens
    if (!response.ok) throw new Error(JSON.stringify(answer))
    return answer
  }
  return {
    issuer,
    posts,
    failures,
    refresh: (refreshToken: string) => token({ grant_type: 'refresh_token', refresh_token: refreshToken }),
    /** A browser with cookies of its own: one session at the provider. */
    browser () {
      const cookies = new Map<string, string>()
      const go = async (url: string, form?: Record<string, string>): Promise<Response> => {
        const response = await fetch(new URL(url, issuer), {
          redirect: 'manual',
          headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
          ...(form !== undefined && { method: 'POST', body: new URLSearchParams(form) })
        })
        for (const cookie of response.headers.getSetCookie()) {
          const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie)!
          if (value === '') cookies.delete(name!)
          else cookies.set(name!, value!)
        }
        const location = response.headers.get('location')
        if (location === null || location.startsWith(CALLBACK)) return response
        return go(location)
      }
      return {
        async logIn (user: string): Promise<Tokens> {
          const query = new URLSearchParams({ client_id: CLIENT, response_type: 'code', redirect_uri: CALLBACK, scope: 'openid offline_access read', prompt: 'consent', resource: API })
          let response = await go(`/auth?${query}`)
          for (let step = 0; step < 3 && response.headers.get('location') === null; step++) {
            const page = await response.text()
            const [, action] = /action="([^"]+)"/.exec(page)!
            const [, prompt] = /name="prompt" value="(\w+)"/.exec(page)!
            response = await go(action!, prompt === 'login' ? { prompt, login: user, password: 'x' } : { prompt: prompt! })
          }
          const code = new URL(response.headers.get('location')!).searchParams.get('code')!
          return token({ grant_type: 'authorization_code', code, redirect_uri: CALLBACK })
        },
        async logOut () {
          const page = await (await go('/session/end')).text()
          const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(page)!
          await go('/session/end/confirm', { xsrf: xsrf!, logout: 'yes' })
        }
      }
    }
  }
}
