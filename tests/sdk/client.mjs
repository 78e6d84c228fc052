// Drives the unmodified `centrifuge` client by JSON lines: calls on stdin, replies and events on stdout.
//
//   {"id": 1, "call": "rpc", "with": ["comment.create", {…}]}  →  {"id": 1, "result": …} or {"id": 1, "error": {code, message}}
//   {"event": "publication", "offset": 5, "data": {…}}

import { createInterface } from 'node:readline'
import { Centrifuge } from 'centrifuge'
import WebSocket from 'ws'

const print = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const tell = (event, context) => print({ event, ...context })

let client
const subscriptions = new Map()

const calls = {
  create(url, tokens) {
    client = new Centrifuge(url, {
      websocket: WebSocket,
      minReconnectDelay: 20,
      maxReconnectDelay: 200,
      getToken: async () => {
        tell('token', {})
        return tokens.length > 1 ? tokens.shift() : tokens[0]
      },
      token: tokens.length > 1 ? tokens.shift() : tokens[0],
    })
    for (const state of ['connecting', 'connected', 'disconnected']) {
      client.on(state, ({ code, reason, client }) => tell(state, { code, reason, client }))
    }
    client.on('error', ({ type, error }) => tell('error', { type, code: error.code }))
  },
  connect: () => client.connect(),
  disconnect: () => client.disconnect(),
  subscribe(channel) {
    const subscription = client.newSubscription(channel)
    subscriptions.set(channel, subscription)
    subscription.on('subscribed', ({ wasRecovering, recovered, streamPosition, data }) =>
      tell('subscribed', { was_recovering: wasRecovering, recovered, ...streamPosition, data })
    )
    subscription.on('publication', ({ offset, data }) => tell('publication', { offset: offset ?? 0, data }))
    subscription.on('error', ({ error }) => tell('refused', { code: error.code }))
    subscription.on('unsubscribed', ({ code }) => tell('unsubscribed', { code }))
    subscription.subscribe()
  },
  unsubscribe: (channel) => subscriptions.get(channel).unsubscribe(),
  rpc: async (method, data) => (await client.rpc(method, data)).data,
  async presence(channel) {
    const { clients } = await subscriptions.get(channel).presence()
    return Object.values(clients).map(({ client, user, connInfo }) => ({ client, user, name: connInfo?.name ?? '' }))
  },
  async presence_stats(channel) {
    const { numClients, numUsers } = await subscriptions.get(channel).presenceStats()
    return [numClients, numUsers]
  },
  async history(channel, limit, since) {
    const { publications, offset } = await subscriptions.get(channel).history({ limit, since })
    return [publications.map((publication) => publication.offset), offset]
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, with: given } = JSON.parse(line)
  Promise.resolve()
    .then(() => calls[call](...given))
    .then(
      (result) => print({ id, result: result ?? null }),
      (error) => print({ id, error: { code: error.code ?? -1, message: String(error.message ?? error) } })
    )
}
process.exit(0)
