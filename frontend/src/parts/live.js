// One stream of events per page; whatever names a charger or location in data-live is drawn anew by the server.
import htmx from 'htmx.org'

const BETWEEN_MS = 1000
const KINDS = [
  'RunChanged',
  'ChargerChanged', 'CommandChanged', 'TransactionChanged', 'LocalListChanged',
  'ReservationChanged', 'TransferChanged', 'ParametersChanged', 'LinkChanged',
]

const pill = document.getElementById('connection')
const waiting = new WeakMap()
let isBehind = false
let lostTimer

function draw(element) {
  if (waiting.has(element)) return
  const since = Date.now() - Number(element.dataset.drawnAt || 0)
  waiting.set(element, setTimeout(() => {
    waiting.delete(element)
    if (!element.isConnected) return
    element.dataset.drawnAt = Date.now()
    htmx.trigger(element, 'live')
  }, Math.max(since > BETWEEN_MS ? 60 : BETWEEN_MS - since, 60)))
}

function drawAll() {
  if (document.hidden) {
    isBehind = true
    return
  }
  for (const element of document.querySelectorAll('[data-live]')) draw(element)
}

function hear(event) {
  const told = JSON.parse(event.data)
  document.dispatchEvent(new CustomEvent('voltyard:heard', { detail: { kind: event.type, ...told } }))
  if (document.hidden) {
    isBehind = true
    return
  }
  for (const element of document.querySelectorAll('[data-live]')) {
    const wanted = element.dataset.live
    const kinds = element.dataset.liveKinds
    if (kinds && !kinds.split(' ').includes(event.type)) continue
    if (wanted === '*' || wanted === told.charger_id || wanted === told.location_id || wanted === told.run_id) draw(element)
  }
}

function connect() {
  const stream = new EventSource('/live')
  let isFirst = true
  stream.addEventListener('open', () => {
    clearTimeout(lostTimer)
    pill.hidden = true
    // Whatever happened while we were away is in the database: draw from there.
    if (!isFirst) {
      drawAll()
      document.dispatchEvent(new CustomEvent('voltyard:heard', { detail: { kind: 'lost' } }))
    }
    isFirst = false
    document.documentElement.dataset.live = 'on'
  })
  stream.addEventListener('error', () => {
    document.documentElement.dataset.live = 'off'
    isFirst = false
    clearTimeout(lostTimer)
    lostTimer = setTimeout(() => { pill.hidden = false }, 1200)
    // A refusal ends the stream for good; the next page will say why.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 5000)
  })
  stream.addEventListener('lost', drawAll)
  for (const kind of KINDS) stream.addEventListener(kind, hear)
  addEventListener('pagehide', () => stream.close(), { once: true })
}

if (pill) {
  connect()
  addEventListener('pageshow', (event) => { if (event.persisted) { connect(); drawAll() } })
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && isBehind) {
      isBehind = false
      drawAll()
    }
  })
}
