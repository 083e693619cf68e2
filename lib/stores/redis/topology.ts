import type { RedisClient } from '../../types.ts'
import { Cluster } from './cluster.ts'
import type { Commands, Proven } from './commands.ts'
import { Node } from './node.ts'

/** The only place where it is decided whether a client leads to one node or to a cluster. */
export function commandsOf ({ client, proof }: { client: RedisClient, proof?: Proven | undefined }): Commands {
  return client.isCluster ? new Cluster(client, proof) : new Node(client, proof)
}
