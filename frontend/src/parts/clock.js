// Local time: the server learns the browser's zone from a cookie, and "5 minutes ago" stays true.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
if (zone) document.cookie = `voltyard_tz=${zone}; path=/; max-age=31536000; samesite=lax`

const relative = new Intl.RelativeTimeFormat(document.documentElement.lang || 'en', { numeric: 'auto' })
const STEPS = [['minute', 60], ['hour', 3600], ['day', 86400], ['month', 2592000], ['year', 31536000]]

function ago(at) {
  const seconds = (new Date(at) - Date.now()) / 1000
  if (Math.abs(seconds) < 45) return relative.format(0, 'second')
  let [unit, size] = STEPS[0]
  for (const step of STEPS) if (Math.abs(seconds) >= step[1]) [unit, size] = step
  return relative.format(Math.round(seconds / size), unit)
}

function lasting(since) {
  const seconds = Math.max(0, Math.floor((Date.now() - new Date(since)) / 1000))
  const gap = '\u00a0'
  if (seconds < 60) return `${seconds}${gap}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}${gap}min`
  if (minutes < 1440) return `${Math.floor(minutes / 60)}${gap}h ${String(minutes % 60).padStart(2, '0')}${gap}min`
  return `${Math.floor(minutes / 1440)}${gap}d ${Math.floor((minutes % 1440) / 60)}${gap}h`
}

// What is left until an instant, written as the server writes durations.
function left(until) {
  return lasting(Date.now() - Math.max(0, new Date(until) - Date.now()))
}

function tell() {
  for (const shown of document.querySelectorAll('time[data-ago]')) shown.textContent = ago(shown.dateTime)
  for (const shown of document.querySelectorAll('time[data-lasting]')) shown.textContent = lasting(shown.dateTime)
  for (const shown of document.querySelectorAll('time[data-left]')) shown.textContent = left(shown.dateTime)
}

export function startClock() {
  tell()
  setInterval(tell, 10_000)
  document.addEventListener('htmx:after:swap', tell)
}
