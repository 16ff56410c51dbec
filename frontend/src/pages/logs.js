// The live tail of a charger's log: rows come drawn by the server, this only puts them in their place.
// While somebody reads (has scrolled, points at a row, has one open) nothing moves: new rows wait in a pill.
import '../parts/logs.css'

const ROWS_MAX = 300
const KEPT = 'voltyard.log.live'

class Log {
  constructor(box) {
    this.box = box
    this.calls = box.querySelector('[data-calls]')
    this.pill = box.querySelector('[data-new]')
    this.toggle = box.querySelector('[data-live-switch]')
    this.waiting = new Map()
    this.order()
    if (!this.toggle || !this.calls) return
    this.toggle.addEventListener('click', () => this.turn(!this.isLive))
    this.pill.addEventListener('click', () => {
      this.flush()
      scrollTo({ top: 0, behavior: 'smooth' })
    })
    this.calls.addEventListener('pointerleave', () => this.settle())
    this.turn(localStorage.getItem(KEPT) !== 'off', true)
  }

  turn(isLive, isFirst = false) {
    this.isLive = isLive
    this.toggle.setAttribute('aria-pressed', String(isLive))
    if (!isFirst) localStorage.setItem(KEPT, isLive ? 'on' : 'off')
    if (isLive) this.connect()
    else this.leave()
    if (isLive && !isFirst) this.flush()
  }

  connect() {
    this.stream = new EventSource(this.place ? this.box.dataset.stream.replace(/place=\d*/, `place=${this.place}`) : this.box.dataset.stream)
    this.stream.addEventListener('open', () => { this.box.dataset.state = 'on' })
    this.stream.addEventListener('error', () => { this.box.dataset.state = 'off' })
    this.stream.addEventListener('call', (event) => {
      this.place = event.lastEventId
      const told = JSON.parse(event.data)
      this.take(told.number, told.html)
    })
    this.stream.addEventListener('lost', () => {
      this.leave()
      window.htmx.trigger(this.box, 'again')
    })
  }

  leave() {
    this.stream?.close()
    this.box.dataset.state = 'off'
  }

  get isRead() {
    return scrollY > 240 || this.calls.matches(':hover') || this.calls.contains(document.activeElement)
      || this.calls.querySelector('details[open]') !== null
  }

  take(number, html) {
    const shown = document.getElementById(`call-${number}`)
    if (shown) return this.replace(shown, html)
    if (this.isRead) {
      this.waiting.set(number, html)
      return this.tell()
    }
    this.insert(number, html)
    this.order()
  }

  replace(shown, html) {
    const row = drawn(html)
    if (row.dataset.state === shown.dataset.state) return
    row.open = shown.open
    const hadFocus = shown.contains(document.activeElement)
    shown.replaceWith(row)
    if (hadFocus) row.querySelector('summary').focus({ preventScroll: true })
  }

  insert(number, html) {
    const rows = [...this.calls.querySelectorAll('.call')]
    const row = drawn(html)
    // What we ask gets its number a moment after it is sent, so rows stand in the order of their times.
    const below = rows.find((other) => at(other) < at(row) || (at(other) === at(row) && Number(other.dataset.number) < number))
    // Older than all that is shown: it has its place on another page.
    if (!below && rows.length >= 50) return
    row.classList.add('is-new')
    if (below) below.before(row)
    else this.calls.append(row)
    const surplus = rows.slice(ROWS_MAX - 1)
    for (const last of surplus) last.remove()
    const older = this.box.querySelector('[data-older]')
    if (older && surplus.length) {
      const next = 1 + Math.max(...surplus.map((last) => Number(last.dataset.number)))
      older.href = older.href.replace(/before=\d+/, `before=${next}`)
    }
  }

  flush() {
    for (const [number, html] of [...this.waiting].sort(([a], [b]) => a - b)) this.insert(number, html)
    this.waiting.clear()
    this.tell()
    this.order()
  }

  settle() {
    if (this.waiting.size && !this.isRead) this.flush()
  }

  tell() {
    const count = this.waiting.size
    this.pill.hidden = count === 0
    this.pill.textContent = count === 1 ? this.pill.dataset.one : this.pill.dataset.many.replace('#', count)
  }

  // The days stand between the rows; the words above go with the first row.
  order() {
    if (!this.calls) return
    const rows = this.calls.querySelectorAll('.call')
    for (const old of this.calls.querySelectorAll('.log-day')) old.remove()
    let day
    for (const row of rows) {
      if (row.dataset.day !== day) {
        const word = document.createElement('h3')
        word.className = 'log-day'
        word.textContent = row.dataset.dayWord
        row.before(word)
      }
      day = row.dataset.day
    }
    const names = this.box.querySelector('.call-names')
    if (names) names.hidden = rows.length === 0
    const nothing = this.box.querySelector('[data-nothing]')
    if (nothing) nothing.hidden = rows.length > 0
  }
}

function at(row) {
  return Date.parse(row.querySelector('time').dateTime)
}

function drawn(html) {
  const box = document.createElement('template')
  box.innerHTML = html.trim()
  return box.content.firstElementChild
}

let log

function begin() {
  const box = document.getElementById('log')
  if (!box || box === log?.box) return
  log?.leave?.()
  log = new Log(box)
}

// What the chips say, as the server would say it.
function label(form) {
  const [actions, time] = form.querySelectorAll('.chip-menu')
  const chosen = [...actions.querySelectorAll('input:checked')].map((each) => each.value)
  const said = actions.querySelector('b')
  said.textContent = chosen.length > 1 ? said.dataset.count.replace('#', chosen.length) : chosen[0] || said.dataset.none
  const when = time.querySelector('b')
  const isTimed = [...time.querySelectorAll('input')].some((each) => each.value)
  when.textContent = isTimed ? when.dataset.some : when.dataset.none
  when.parentElement.classList.toggle('is-chosen', isTimed)
  const others = [...form.querySelectorAll('select, input[type=search], input[type=hidden]')]
  form.querySelector('[data-clear]').hidden = !isTimed && !chosen.length && others.every((each) => !each.value)
}

document.addEventListener('input', (event) => {
  const form = event.target.closest('#log-filters')
  if (form) label(form)
})
document.addEventListener('htmx:after:swap', begin)
addEventListener('scroll', () => { if (scrollY === 0) log?.settle?.() }, { passive: true })
addEventListener('pagehide', () => log?.leave?.())
addEventListener('pageshow', (event) => { if (event.persisted && log?.isLive) log.connect() })
document.addEventListener('visibilitychange', () => {
  // A tab that nobody looks at asks for nothing; it catches up when somebody does.
  if (!log?.isLive) return
  if (document.hidden) log.leave()
  else log.connect()
})

// A menu closes when one looks elsewhere, or presses Escape.
document.addEventListener('click', (event) => {
  for (const menu of document.querySelectorAll('.chip-menu[open]')) if (!menu.contains(event.target)) menu.open = false
})

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') {
    const menu = document.querySelector('.chip-menu[open]')
    if (menu) {
      menu.open = false
      menu.querySelector('summary').focus()
    }
    return
  }
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return
  const isTyping = event.target.closest('input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]')
  if (isTyping) return
  if (event.key === '/') {
    event.preventDefault()
    document.querySelector('#log-filters input[type=search]')?.focus()
    return
  }
  const isArrow = event.key === 'ArrowDown' || event.key === 'ArrowUp'
  if (!isArrow && event.key !== 'j' && event.key !== 'k') return
  const rows = [...document.querySelectorAll('.call > summary')]
  const at = rows.indexOf(document.activeElement)
  // Arrows scroll the page as everywhere, until one is among the rows.
  if (!rows.length || (isArrow && at < 0)) return
  event.preventDefault()
  const step = event.key === 'ArrowDown' || event.key === 'j' ? 1 : -1
  rows[Math.min(rows.length - 1, Math.max(0, at + step))].focus()
})

begin()
