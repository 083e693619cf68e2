import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import { startRedis, type Owner } from './redis.ts'

const NAMES = 'subjectAltName=DNS:localhost,IP:127.0.0.1'

/** A certificate that is its own authority, for 127.0.0.1, as files and as text. */
export function selfSigned (t: Owner) {
  const folder = mkdtempSync(join(tmpdir(), 'tls-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
  execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', '-subj', '/CN=localhost', '-addext', NAMES], { stdio: 'ignore' })
  return { keyFile, certFile, key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') }
}

/** A Redis that speaks TLS on a second port. */
export async function startTlsRedis (t: Owner, more: string[] = []) {
  const { keyFile, certFile, cert } = selfSigned(t)
  const tlsPort = await freePort()
  const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', certFile]
  const server = await startRedis(t, { args: ['--tls-port', String(tlsPort), ...files, ...more] })
  return { server, tlsPort, cert }
}
