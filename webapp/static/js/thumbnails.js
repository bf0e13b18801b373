// Tells the server which screens are looked at: pictures are taken only of those. Repeated while the
// page is visible, because the interest runs out by itself when a page goes away.

const REPEAT_MS = 8000;

export function watchThumbnails(socket, list, isRunning) {
  const seen = new Set();
  const tell = () => {
    if (document.hidden || !socket.connected) return;
    const ids = [...seen].filter(isRunning);
    if (ids.length) socket.emit("subscribe", { thumbnails: ids });
  };
  let soon = null;
  const tellSoon = () => {
    soon ??= setTimeout(() => {
      soon = null;
      tell();
    }, 100);
  };
  const sight = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) seen.add(entry.target.dataset.id);
      else seen.delete(entry.target.dataset.id);
    }
    tellSoon();
  });
  for (const card of list.children) sight.observe(card);
  setInterval(tell, REPEAT_MS);
  document.addEventListener("visibilitychange", tell);
  return {
    tellSoon,
    add: (card) => sight.observe(card),
    remove: (card) => {
      sight.unobserve(card);
      seen.delete(card.dataset.id);
    },
  };
}
